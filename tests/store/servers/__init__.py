"""How the store reaches servers, and what that costs."""
