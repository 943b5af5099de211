package inventory

// Waiting is how many reports wait for a statement to begin.
func (s *Store) Waiting() int {
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	return len(s.changes.waiting)
}
