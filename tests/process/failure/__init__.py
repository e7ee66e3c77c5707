"""Workers that die, hang, or take too much, and what task code can do to its worker."""
