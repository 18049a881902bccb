package git

import (
	"context"
	"io"
)

// UploadPack serves one request of the smart HTTP protocol for fetching: the list of refs (advertise), or
// what the client asks for in in. protocol is the Git-Protocol header of the client; empty is version 0.
func (r *Repo) UploadPack(ctx context.Context, protocol string, advertise bool, in io.Reader, out io.Writer) error {
	args := []string{"upload-pack", "--stateless-rpc", "--strict"}
	if advertise {
		args = append(args, "--http-backend-info-refs")
	}
	c := command{args: append(args, r.cfg.Dir), stdin: in, stdout: out}
	if protocol != "" {
		c.env = []string{"GIT_PROTOCOL=" + protocol}
	}
	_, err := r.run(ctx, c)
	return err
}
