"""What the documentation is made from, and held against."""
