"""The whole stack on one machine, without Docker and without an AWS account: ``python -m infra.local --help``.

``template.yaml`` is the only description of routes, CORS, environment and timeouts; SAM CLI reads it.
"""
