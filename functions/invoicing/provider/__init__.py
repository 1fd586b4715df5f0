"""CryptoCloud: the transport, the outcomes of a call, and one module for each version of its API."""
