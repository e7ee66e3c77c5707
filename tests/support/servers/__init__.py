"""Real servers, and what stands before them."""
