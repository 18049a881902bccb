package executor

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/gozer-ci/gozer/internal/provider/knock"
)

// What is done on a host is done by its shell, tar and, where there is one, flock: nothing has to be installed.

// mostSaid bounds in bytes what a node may say about what it was asked to do.
const mostSaid = 64 << 10

// onHost runs a script on a host, with variables, and gives what it wrote.
func onHost(c *ssh.Client, vars map[string]string, script string, in io.Reader) (string, error) {
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer s.Close()
	var set strings.Builder
	for name, v := range vars {
		fmt.Fprintf(&set, "%s=%s\n", name, quote(v))
	}
	out, bad := &knock.Output{Most: mostSaid}, &knock.Output{Most: mostSaid}
	s.Stdin, s.Stdout, s.Stderr = in, out, bad
	if err := s.Run("sh -c " + quote("set -eu; umask 022\n"+set.String()+script)); err != nil {
		if said := strings.TrimSpace(bad.String()); said != "" {
			return "", errors.New(said)
		}
		return "", err
	}
	return out.String(), nil
}

const (
	// viewKeys writes authorized_keys without the keys of buildsets that are gone, and with this one's.
	viewKeys = `
keys="$HOME/.ssh/authorized_keys"
if [ -n "$line" ] || grep -qsF " gozer-view:$base/" "$keys"; then
	mkdir -p -m 700 "$HOME/.ssh"
	if command -v flock >/dev/null; then exec 9>"$HOME/.ssh/.gozer-lock"; flock 9; fi
	new="$keys.gozer-$$"
	(umask 077; : >"$new"; [ ! -f "$keys" ] || while IFS= read -r l || [ -n "$l" ]; do
		case $l in
		*" gozer-view:$base/"*)
			id=${l##*/}
			[ "$id" != "$buildset" ] || continue
			[ -n "$keep" ] || { printf '%s\n' "$l"; continue; }
			case " $keep " in *" $id "*) printf '%s\n' "$l" ;; esac ;;
		*) printf '%s\n' "$l" ;;
		esac
	done <"$keys" >"$new"; [ -z "$line" ] || printf '%s\n' "$line" >>"$new")
	mv -f "$new" "$keys"
	exec 9>&-
fi
`
	// viewTidy removes views of buildsets that are gone, and names them. What is young may be one that
	// somebody lays at this moment.
	viewTidy = `
mkdir -p "$base"
for v in "$base"/*/; do
	id=$(basename "$v")
	[ -f "$v/.gozer-view" ] || continue
	case " $keep " in *" $id "*) continue ;; esac
	[ -n "$(find "$v/.gozer-view" -mmin +10)" ] || continue
	chmod -R u+w "$v" && rm -rf "$v" && echo "$id"
done
`
	viewLook = `if [ -d "$root" ]; then echo yes; fi`
	// viewLay unpacks beside the place where the view shall be. What has its name is whole.
	viewLay = `
mkdir -p "$base/$buildset"
: >"$base/$buildset/.gozer-view"
mkdir "$tmp"
trap '[ ! -e "$tmp" ] || { chmod -R u+w "$tmp"; rm -rf "$tmp"; }' EXIT
tar -xzmf - -C "$tmp"
chmod -R a-w "$tmp"
mv -T "$tmp" "$root" 2>/dev/null || [ -d "$root" ]
`
	viewDrop = `
v="$base/$buildset"
if [ -d "$v" ]; then chmod -R u+w "$v"; rm -rf "$v"; fi
`
)
