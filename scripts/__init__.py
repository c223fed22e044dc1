"""What starts, supervises and prepares the system on one machine."""
