package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Check tells whether this machine can have sandbox nodes; the error is one sentence with what to do.
func Check(ctx context.Context) error {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return errors.New("sandbox nodes need bubblewrap, which is not installed: apt-get install bubblewrap")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "--unshare-user", "--unshare-pid", "--uid", "0", "--gid", "0",
		"--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("sandbox nodes need user namespaces, which this machine refuses (%s): "+
			"as root, sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 "+
			"(and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0): %w", bytes.TrimSpace(stderr.Bytes()), err)
	}
	return nil
}
