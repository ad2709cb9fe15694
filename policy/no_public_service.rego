# A service that asks for no token is open to the internet, and whoever finds it has the GPU.
package whisperctl.no_public_service

import rego.v1

deny contains message if {
	some stack in input.stacks
	some change in stack.changes
	startswith(change.address, "service/")
	change.action in ["create", "update", "replace"]
	some field in change.fields
	field.path == "authentication_required"
	field.after == false
	message := sprintf("%s: %s would be public (%s)", [stack.stack, change.address, change.source])
}
