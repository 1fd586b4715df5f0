"""What callers and owners rely on: requests, replies, errors, settings, and the rules that read them."""
