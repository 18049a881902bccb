package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
)

// idMap is what the user ids of nodes are on the host: 0 is whoever runs Gozer; 1 to count are the ids
// from first on. Count 0: there is only the one.
type idMap struct {
	firstUID, firstGID, count int
	// helpers: newuidmap and newgidmap must write the map, we may not.
	helpers bool
}

// All ids but 0.
const otherIDs = 65535

// rootFirst is where the ids of nodes begin for root without an entry in /etc/subuid: far from what
// Debian hands out.
const rootFirst = 1 << 30

// findIDMap finds out what this process may map.
func findIDMap() idMap {
	uid := os.Geteuid()
	who, own := strconv.Itoa(uid), ""
	if u, err := user.LookupId(who); err == nil {
		own = u.Username
	}
	firstUID, okU := subRange("/etc/subuid", own, who)
	firstGID, okG := subRange("/etc/subgid", own, who)
	if uid == 0 {
		if !okU || !okG {
			firstUID, firstGID = rootFirst, rootFirst
		}
		if hasIDs("/proc/self/uid_map", firstUID) && hasIDs("/proc/self/gid_map", firstGID) {
			return idMap{firstUID: firstUID, firstGID: firstGID, count: otherIDs}
		}
		return idMap{}
	}
	_, errU := exec.LookPath("newuidmap")
	_, errG := exec.LookPath("newgidmap")
	if !okU || !okG || errU != nil || errG != nil {
		return idMap{}
	}
	return idMap{firstUID: firstUID, firstGID: firstGID, count: otherIDs, helpers: true}
}

// subRange finds the range of a user in /etc/subuid or /etc/subgid that is large enough.
func subRange(path string, names ...string) (first int, ok bool) {
	eachField(path, ":", func(f []string) {
		if ok || len(f) != 3 || f[0] == "" || (f[0] != names[0] && f[0] != names[1]) {
			return
		}
		start, err1 := strconv.Atoi(f[1])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && count >= otherIDs {
			first, ok = start, true
		}
	})
	return first, ok
}

// hasIDs tells whether our own user namespace has the ids from first on (a container may not).
func hasIDs(path string, first int) (ok bool) {
	eachField(path, "", func(f []string) {
		if len(f) != 3 {
			return
		}
		inside, err1 := strconv.Atoi(f[0])
		count, err2 := strconv.Atoi(f[2])
		ok = ok || err1 == nil && err2 == nil && first >= inside && first+otherIDs <= inside+count
	})
	return ok
}

// eachField calls fn for the fields of each line; sep "" is white space. A file that is not there has
// no lines.
func eachField(path, sep string, fn func([]string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if sep == "" {
			fn(strings.Fields(lines.Text()))
		} else {
			fn(strings.Split(lines.Text(), sep))
		}
	}
}

// many tells whether nodes have more than one user id.
func (m idMap) many() bool { return m.count > 0 }

// write gives the user namespace of process pid its ids.
func (m idMap) write(pid int) error {
	if m.helpers {
		if err := runIDHelper("newuidmap", pid, os.Geteuid(), m.firstUID, m.count); err != nil {
			return err
		}
		return runIDHelper("newgidmap", pid, os.Getegid(), m.firstGID, m.count)
	}
	for file, ids := range map[string][2]int{"uid_map": {os.Geteuid(), m.firstUID}, "gid_map": {os.Getegid(), m.firstGID}} {
		line := fmt.Sprintf("0 %d 1\n1 %d %d\n", ids[0], ids[1], m.count)
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, file), []byte(line), 0); err != nil {
			return fmt.Errorf("give the node its user ids: %w", err)
		}
	}
	return nil
}

func runIDHelper(program string, pid, own, first, count int) error {
	cmd := exec.Command(program, strconv.Itoa(pid), "0", strconv.Itoa(own), "1", "1", strconv.Itoa(first), strconv.Itoa(count))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s: %w", strings.Join(cmd.Args, " "), strings.TrimSpace(string(out)), err)
	}
	return nil
}
