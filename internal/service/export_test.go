package service

// Waiters counts who waits for an answer.
func (s *Services) Waiters() int { return look(s, func() int { return len(s.waiters) }) }
