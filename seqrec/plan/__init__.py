"""What a recipe needs on a machine: memory a rank under each strategy, and the time and traffic of a step."""

from seqrec.plan.devices import DEVICES, Device, find_device
from seqrec.plan.plan import Plan, Row, plan_recipe
from seqrec.plan.table import plan_table

__all__ = ["DEVICES", "Device", "Plan", "Row", "find_device", "plan_recipe", "plan_table"]
