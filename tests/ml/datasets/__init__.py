"""The dataset core: archives, layouts, duplicates, exploration."""
