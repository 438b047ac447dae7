package fill

import "os"

// lastLeaf is the offset at which the last leaf begins.
func (fl *fill) lastLeaf() int64 { return fl.table.Start(len(fl.table.Leaves) - 1) }

// lend reports whether a reader of all up to an offset may be given the file as it
// is, which must be told to giveBack then.
func (fl *fill) lend(f *os.File, to int64) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	complete := fl.digest != "" && (fl.theirs == nil || f.Name() == fl.path)
	if to < fl.table.Size() || !fl.ordered && !complete {
		return false
	}
	fl.lent++
	return true
}

func (fl *fill) giveBack() {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.lent--
}

// keepBack takes bytes of the last leaf, and reports whether they are not to be
// written yet.
func (fl *fill) keepBack(b []byte, at int64) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	switch first := at == fl.lastLeaf(); {
	case first && fl.ordered:
		fl.tail = append([]byte(nil), b...)
	case first || len(fl.tail) == 0:
		fl.tail = nil
		return false
	default: // as it began
		fl.tail = append(fl.tail, b...)
	}
	return true
}

// release writes what was kept back.
func (fl *fill) release() error {
	fl.mu.Lock()
	last := len(fl.leaves) - 1
	isHeld := fl.leaves[last] == held
	fl.mu.Unlock()
	if !isHeld {
		return nil
	}
	if err := fl.write(fl.tail, fl.lastLeaf()); err != nil {
		return passedBy{err}
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.leaves[last] = there
	return nil
}

// readAt reads for the proof.
func (fl *fill) readAt(b []byte, at int64) (int, error) {
	last := fl.lastLeaf()
	fl.mu.Lock()
	isHeld := fl.leaves[len(fl.leaves)-1] == held
	fl.mu.Unlock()
	if isHeld && at >= last {
		return copy(b, fl.tail[at-last:]), nil
	}
	if isHeld {
		b = b[:min(int64(len(b)), last-at)]
	}
	return fl.partial.ReadAt(b, at)
}
