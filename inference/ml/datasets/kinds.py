"""In what a picture can differ from its class: in words, for pages that measure nothing."""

KINDS = {
    "size": "Size",
    "intensity": "Brightness",
    "colour": "Colour",
    "sharpness": "Sharpness",
    "no_cell": "No cell found",
    "many_cells": "Many cells found",
}
