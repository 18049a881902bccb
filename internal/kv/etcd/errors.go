package etcd

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gozer-ci/gozer/internal/kv"
)

// refusals are the errors of etcd that have a known outcome: the request was refused.
var refusals = []struct{ etcd, kv error }{
	{rpctypes.ErrCompacted, kv.ErrCompacted},
	{rpctypes.ErrFutureRev, kv.ErrFutureRevision},
	{rpctypes.ErrLeaseNotFound, kv.ErrLeaseNotFound},
	{rpctypes.ErrNoSpace, kv.ErrNoSpace},
	// A cluster elsewhere may have lower limits than package kv.
	{rpctypes.ErrRequestTooLarge, kv.ErrTooLarge},
	{rpctypes.ErrTooManyOps, kv.ErrTooLarge},
	{rpctypes.ErrLeaseTTLTooLarge, kv.ErrInvalid},
}

// refusal adds the sentinel of package kv to an error of etcd, if there is one for it.
func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(rpctypes.Error(err), r.etcd) {
			return fmt.Errorf("%w: %w", r.kv, err)
		}
	}
	if isMessageTooLarge(err) {
		return fmt.Errorf("%w: %w", kv.ErrTooLarge, err)
	}
	return err
}

// isMessageTooLarge: gRPC itself refused the request, for its size, before etcd saw it. It has no
// code of its own for this.
func isMessageTooLarge(err error) bool {
	return code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "message larger than max")
}

func isCompacted(err error) bool { return errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) }
func isLeaseNotFound(err error) bool {
	return errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound)
}

// isPassing tells whether a watch that broke with err can be expected to work again.
func isPassing(err error) bool {
	switch code(err) {
	case codes.Unavailable, codes.Internal, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted:
		return true
	}
	return false
}

// code is the gRPC code of an error, in either of the two forms in which the client gives them.
func code(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}
