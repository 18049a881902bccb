package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Hosts last, and so do their slots: which are taken, by whom, is kept in a file, so that a restart of Gozer is to
// whoever has a slot what a restart of the host would be.

// takenSlot is one in the file, by the ID of its instance.
type takenSlot struct {
	Host  string `json:"host"`
	Slot  int    `json:"slot"`
	Label string `json:"label"`
}

func (p *Provider) slotsFile() string { return filepath.Join(p.cfg.Folder, "slots.json") }

// readSlots takes the slots again that were taken. Those of hosts that are no longer there are forgotten.
func (p *Provider) readSlots() error {
	b, err := os.ReadFile(p.slotsFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	taken := map[string]takenSlot{}
	if err == nil {
		err = json.Unmarshal(b, &taken)
	}
	if err != nil {
		return fmt.Errorf("sandbox provider %s: read %s: %w", p.cfg.Name, p.slotsFile(), err)
	}
	for id, t := range taken {
		if h := p.hosts[t.Host]; h != nil && t.Slot >= 0 && t.Slot < len(h.slots) && h.slots[t.Slot] == "" {
			h.slots[t.Slot] = id
			p.instances[id] = &instance{id: id, label: t.Label, host: h, slot: t.Slot, machine: h.machine, busy: make(chan struct{}, 1)}
		}
	}
	return nil
}

// saveSlots writes which slots are taken; p.mu is held.
func (p *Provider) saveSlots() error {
	taken := map[string]takenSlot{}
	for id, i := range p.instances {
		if i.host != nil {
			taken[id] = takenSlot{i.host.cfg.Name, i.slot, i.label}
		}
	}
	b, err := json.Marshal(taken)
	if err == nil {
		err = os.WriteFile(p.slotsFile()+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(p.slotsFile()+".new", p.slotsFile())
	}
	if err != nil {
		return fmt.Errorf("sandbox provider %s: note which slots are taken: %w", p.cfg.Name, err)
	}
	return nil
}
