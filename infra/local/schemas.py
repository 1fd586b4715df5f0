"""Prints what CloudFormation asks for resource types, in JSON: ``python -m infra.local.schemas AWS::SQS::Queue …``.

For each type, every action that its handlers may call (listing left out: that is not of a deployment). The schemas are
AWS's own, inside cfn-lint:
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html#schema-properties-handlers
"""

import json
import sys

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER


def actions(resource_type: str) -> list[str]:
    """Returns what create, read, update and delete of such a resource may call, such as ``sqs:CreateQueue``."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    handlers = [handler for name, handler in schema["handlers"].items() if name != "list"]
    sources = [*handlers, schema.get("tagging", {})]
    return sorted({action for source in sources for action in source.get("permissions", ())})


if __name__ == "__main__":
    print(json.dumps({resource_type: actions(resource_type) for resource_type in sys.argv[1:]}))
