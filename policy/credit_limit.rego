# What all stacks of a plan may cost together, in credits per hour, with every instance that they may run.
package whisperctl.credit_limit

import rego.v1

limit := 100

costs contains [stack.stack, stack.cost.credits_per_hour.maximum.after] if {
	some stack in input.stacks
	stack.cost
}

total := sum([credits | some [_, credits] in costs; is_number(credits)])

deny contains message if {
	total > limit
	message := sprintf("up to %v credits per hour, and %v is the limit", [total, limit])
}

# A rate that UbiOps does not tell is no reason to let a plan pass.
deny contains message if {
	some [name, credits] in costs
	not is_number(credits)
	message := sprintf("%s: what it may cost is not known", [name])
}
