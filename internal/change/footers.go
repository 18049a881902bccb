package change

import (
	"regexp"
	"strings"
)

var (
	dependsOn = regexp.MustCompile(`(?im)^Depends-On: *(.*?)[ \t\r]*$`)
	changeID  = regexp.MustCompile(`(?m)^Change-Id: *(I[0-9a-f]{40})[ \t\r]*$`)
	compatID  = regexp.MustCompile(`^I[0-9a-f]{40}$`)
)

// maxFooters bounds how many Depends-On lines of one message are looked at: a message with
// thousands of them is a mistake or an attack, and each costs a question to a forge.
const maxFooters = 500

// DependsOn reads the Depends-On lines of a message: URLs, in order, each once, and the legacy
// form with a Change-Id. A line may stand anywhere in the message; case does not matter.
func DependsOn(message string) (urls, ids []string) {
	seen := map[string]bool{}
	for _, m := range dependsOn.FindAllStringSubmatch(message, maxFooters) {
		v := strings.TrimSpace(m[1])
		if v == "" || seen[v] {
			continue
		}
		seen[v] = true
		if compatID.MatchString(v) {
			ids = append(ids, v)
		} else {
			urls = append(urls, v)
		}
	}
	return urls, ids
}

// ID reads the last Change-Id footer of a message; empty where there is none.
func ID(message string) string {
	all := changeID.FindAllStringSubmatch(message, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}
