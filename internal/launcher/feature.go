package launcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/node"
	"github.com/gozer-ci/gozer/internal/provider"
)

// Feature is something that a node has from before its first playbook on, such as FIPS mode. A node is
// ready when Verify says that it is in force. All are commands for the shell of the node.
type Feature struct {
	// Verify ends with 0 where the feature is in force; what it says otherwise is told to people.
	Verify string
	// Apply brings it about, and Reboot restarts the node after that; empty: it cannot, or need not.
	Apply, Reboot string
	// Timeout bounds applying it, with the restart; 0 is ten minutes.
	Timeout time.Duration
}

// BuiltinFeatures are those that every installation has.
func BuiltinFeatures() map[string]Feature {
	return map[string]Feature{"fips": {
		Verify: `[ "$(cat /proc/sys/crypto/fips_enabled 2>/dev/null)" = 1 ] || { echo "/proc/sys/crypto/fips_enabled is not 1"; exit 1; }
command -v update-crypto-policies >/dev/null || exit 0
case "$(update-crypto-policies --show)" in FIPS*) ;; *) echo "the crypto policy is $(update-crypto-policies --show)"; exit 1 ;; esac`,
		Apply:  "sudo -n fips-mode-setup --enable",
		Reboot: "sudo -n systemctl reboot",
	}}
}

// feature gives a node that answers what its label promises, and tells that the node is ready, or why it
// is not.
func (l *Launcher) feature(ctx context.Context, e *node.Check, i *provider.Instance) {
	a := i.Access
	for _, name := range l.promised(e, i.Label) {
		if slices.Contains(a.Features, name) {
			continue // the provider has looked already
		}
		f, ok := l.cfg.Features[name]
		if !ok {
			l.failed(ctx, e.Node, fmt.Errorf("nobody knows feature %s: %w", name, provider.ErrImpossible))
			return
		}
		fctx, cancel := context.WithTimeout(ctx, cmp.Or(f.Timeout, 10*time.Minute))
		err := l.bringAbout(fctx, a, f)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.failed(ctx, e.Node, fmt.Errorf("feature %s is not in force on the node: %w", name, err))
			return
		}
		a.Features = append(slices.Clone(a.Features), name)
	}
	l.say(ctx, &node.Checked{Node: e.Node, Access: a})
}

// promised are the features of a label.
func (l *Launcher) promised(e *node.Check, label string) []string {
	for _, have := range l.providers[e.Provider].Labels() {
		if have.Name == label {
			return have.Features
		}
	}
	return nil
}

func (l *Launcher) bringAbout(ctx context.Context, a node.Access, f Feature) error {
	err := l.verify(ctx, a, f)
	if err == nil || f.Apply == "" {
		return err
	}
	before, err := l.cfg.Command(ctx, a, l.signer, bootID)
	if err != nil {
		return err
	}
	if said, err := l.cfg.Command(ctx, a, l.signer, f.Apply); err != nil {
		return fmt.Errorf("%s: %w", lastLine(said), err)
	}
	if f.Reboot != "" {
		// The connection may break before the command has ended.
		_, err := l.cfg.Command(ctx, a, l.signer, f.Reboot)
		if exit := new(gossh.ExitError); errors.As(err, &exit) && exit.Signal() == "" {
			return fmt.Errorf("restart the node: %w", err)
		}
		if err := l.restarted(ctx, a, before); err != nil {
			return err
		}
	}
	return l.verify(ctx, a, f)
}

func (l *Launcher) verify(ctx context.Context, a node.Access, f Feature) error {
	said, err := l.cfg.Command(ctx, a, l.signer, f.Verify)
	if err == nil {
		return nil
	}
	if said != "" {
		return fmt.Errorf("%s (%w)", lastLine(said), err)
	}
	return err
}

// bootID tells one start of a node from the next.
const bootID = "cat /proc/sys/kernel/random/boot_id"

// restarted waits until the node answers after a restart.
func (l *Launcher) restarted(ctx context.Context, a node.Access, before string) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("it does not come back after its restart: %w", context.Cause(ctx))
		case <-time.After(longestLook):
		}
		lctx, cancel := context.WithTimeout(ctx, lookTimeout)
		now, err := l.cfg.Command(lctx, a, l.signer, bootID)
		cancel()
		if err == nil && now != before {
			return nil
		}
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}
