"""The invoicing domain: one CryptoCloud invoice per request. Knows nothing of API Gateway events."""
