# Only groups that the team has agreed on; a group's name tells its GPU.
package whisperctl.listed_gpus

import rego.v1

listed := ["12288 MB + NVIDIA Tesla T4"]

deny contains message if {
	some stack in input.stacks
	some change in stack.changes
	some field in change.fields
	field.path == "instance_type_group_name"
	change.action != "delete"
	not field.after in listed
	message := sprintf("%s: the instance type group %v is not one of %v (%s)", [stack.stack, field.after, listed, change.source])
}
