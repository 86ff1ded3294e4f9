package domain

const (
	// expressWeight is that of a host's group where groups are tiers: short calls run there
	// until they turn out to be long.
	expressWeight = 10_000
	// toolWeight is that of a process that compiles where groups are tiers: a tenth, so that
	// a deployment goes on when calls take all that they get.
	toolWeight = expressWeight / 10
	// hostsShare is the share of the processor of all hosts together, by that of an ordinary
	// process.
	hostsShare = 5
)

// weight is that of the group of a call's process.
func (p *Pool) weight() int {
	if p.tiered.Load() {
		return expressWeight
	}
	return 0
}

// tiers is told whether the groups of hosts are tiers.
func (p *Pool) tiers(on bool) {
	p.tiered.Store(on)
	share := 1
	if on {
		share = hostsShare
	}
	_ = p.spawner.Raise(share) // what is not raised has the share that it had
}
