"""Asks moto's engine for IAM policies, as a program of its own: moto is in another environment than the tests.

Standard input: ``{"documents": [...], "asked": [[action, resource], ...]}``. Standard output: a list of true and false.
"""

import json
import sys

from moto.iam.access_control import IAMPolicy, PermissionResult

if __name__ == "__main__":
    question = json.load(sys.stdin)
    policies = [IAMPolicy(json.dumps(document)) for document in question["documents"]]

    def may(action: str, resource: str) -> bool:
        answers = {policy.is_action_permitted(action, resource) for policy in policies}
        return PermissionResult.PERMITTED in answers and PermissionResult.DENIED not in answers

    json.dump([may(action, resource) for action, resource in question["asked"]], sys.stdout)
