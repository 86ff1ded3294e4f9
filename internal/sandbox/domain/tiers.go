package domain

const (
	// expressWeight is that of the groups of hosts and of calls that are processes, where
	// groups are tiers: short calls run there until they turn out to be long.
	expressWeight = 10_000
	// toolWeight is that of a process that compiles where groups are tiers: a tenth, so that
	// a deployment goes on when calls take all that they get.
	toolWeight = expressWeight / 10
	// hostsShare is the share of the processor of all hosts together, by that of an ordinary
	// process.
	hostsShare = 5
)

// tiers is told whether the groups of hosts are tiers. What runs already, or is being
// started, follows: it would have too much beside what is made from now on, or too little.
func (p *Pool) tiers(on bool) {
	share := 1
	if on {
		share = hostsShare
	}
	_ = p.spawner.Share(share, on) // what is not changed has the share that it had
}
