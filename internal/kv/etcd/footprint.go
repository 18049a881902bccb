package etcd

import (
	"slices"
	"strings"

	"github.com/gozer-ci/gozer/internal/kv"
)

// footprint is what some transactions read and write.
type footprint struct {
	keys     map[string]bool // whether it is written
	sorted   []string        // the same keys
	prefixes []string        // deleted
}

func newFootprint() *footprint { return &footprint{keys: map[string]bool{}} }

func (f *footprint) add(t kv.Txn) {
	for _, c := range t.If {
		f.touch(c.Key, false)
	}
	for _, o := range t.Then {
		if o.Kind == kv.OpDeletePrefix {
			f.prefixes = append(f.prefixes, o.Key)
		} else {
			f.touch(o.Key, true)
		}
	}
}

func (f *footprint) touch(key string, written bool) {
	was, known := f.keys[key]
	f.keys[key] = was || written
	if !known {
		i, _ := slices.BinarySearch(f.sorted, key)
		f.sorted = slices.Insert(f.sorted, i, key)
	}
}

// apart tells whether t neither writes what is in the footprint nor reads what is written there.
func (f *footprint) apart(t kv.Txn) bool {
	for _, c := range t.If {
		if f.keys[c.Key] || f.deleted(c.Key) {
			return false
		}
	}
	for _, o := range t.Then {
		_, known := f.keys[o.Key]
		if known && o.Kind != kv.OpDeletePrefix || f.deleted(o.Key) || o.Kind == kv.OpDeletePrefix && f.below(o.Key) {
			return false
		}
	}
	return true
}

// deleted tells whether a key, or all below a prefix, goes with a deleted prefix.
func (f *footprint) deleted(key string) bool {
	return slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// below tells whether something of the footprint is below a prefix.
func (f *footprint) below(prefix string) bool {
	i, _ := slices.BinarySearch(f.sorted, prefix)
	return i < len(f.sorted) && strings.HasPrefix(f.sorted[i], prefix) ||
		slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(p, prefix) })
}
