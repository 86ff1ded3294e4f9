package flow

// StepView is where a step is.
type StepView struct {
	Step    string   `json:"step"` // path without index
	Status  Status   `json:"status"`
	Items   int      `json:"items,omitempty"` // of a foreach, once it is known how many
	Done    int      `json:"done,omitempty"`
	Running int      `json:"running,omitempty"`
	Failure *Failure `json:"failure,omitempty"` // of a failed step, or the last one that was caught
}

// Steps lists the steps in the order of their workflow, those of sub-workflows
// that are under way after the step that called them.
func (m *Machine) Steps() []StepView {
	if m.root == nil {
		return nil
	}
	return m.root.views(nil)
}

func (f *frame) views(views []StepView) []StepView {
	for i := range f.steps {
		s := &f.steps[i]
		v := StepView{Step: s.path(), Status: s.status, Failure: s.failure}
		if s.each {
			v.Items = s.width
		}
		switch {
		case s.status != "":
			v.Done = v.Items
			if s.status == Failed {
				v.Done = max(0, v.Items-s.left)
			}
			if v.Failure == nil {
				v.Failure = s.caught
			}
		case s.opened:
			v.Status = Running
			if s.each {
				v.Done, v.Running = s.width-s.left, s.running
			}
		default:
			v.Status = Waiting
		}
		views = append(views, v)
		for _, it := range s.items {
			if it != nil && it.child != nil {
				views = it.child.views(views)
			}
		}
	}
	return views
}
