package domain

const (
	// expressWeight is that of a host's group where groups are tiers: short calls run there
	// until they turn out to be long.
	expressWeight = 10_000
	// hostsShare is the share of the processor of all hosts together, by that of an ordinary
	// process.
	hostsShare = 5
)

// tiers is told whether the groups of hosts are tiers.
func (p *Pool) tiers(on bool) {
	p.tiered.Store(on)
	share := 1
	if on {
		share = hostsShare
	}
	_ = p.spawner.Raise(share) // what is not raised has the share that it had
}
