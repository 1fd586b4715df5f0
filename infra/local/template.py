"""``template.yaml`` as SAM CLI reads it: the only description of what runs here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

from infra.local.scheduler import Schedule, seconds_of


class Template:
    """A built template with values for its parameters.

    What it makes only under a condition is here in any case.

    Args:
        path: The file that ``sam build`` wrote.
        parameters: Values for its parameters.
    """

    def __init__(self, path: str, parameters: Mapping[str, str]) -> None:
        self.folder = str(Path(path).parent)
        stacks, _ = SamLocalStackProvider.get_stacks(path, parameter_overrides=dict(parameters))
        self._resources: Mapping[str, Any] = stacks[0].resources
        self.functions = SamFunctionProvider(stacks)
        self.api = ApiProvider(stacks, cwd=self.folder).api

    @property
    def environment(self) -> dict[str, str]:
        """The variables of all its functions together: what two of them name alike is the same."""
        variables: dict[str, str] = {}
        for function in self.functions.get_all():
            variables |= (function.environment or {}).get("Variables", {})
        return variables

    def of_type(self, resource_type: str) -> dict[str, Mapping[str, Any]]:
        """Returns the properties of its resources of a type, such as ``AWS::DynamoDB::Table``, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self._resources.items()
            if resource["Type"] == resource_type
        }

    def function_at(self, path: str) -> str | None:
        """Returns the logical id of the function behind a route of the HTTP API, if there is one."""
        return next((route.function_name for route in self.api.routes if route.path == path), None)

    @property
    def schedules(self) -> list[Schedule]:
        """The schedules of its functions."""
        return [
            Schedule(name, seconds_of(event["Properties"]["ScheduleExpression"]))
            for name, function in self.of_type("AWS::Serverless::Function").items()
            for event in function.get("Events", {}).values()
            if event["Type"] == "ScheduleV2"
        ]
