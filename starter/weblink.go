package main

import (
	"net/url"
	"strings"

	"rollcall/host"
)

const envUIURL = "ROLLCALL_UI_URL"

// webLink is where the web UI shows a workflow, all of its runs; empty where it is not known where the web UI is.
func (g *globals) webLink(workflowID string) string {
	address, ok := g.io.Env(envUIURL)
	if !ok || address == "" {
		return ""
	}
	namespace, ok := g.io.Env("TEMPORAL_NAMESPACE")
	if !ok || namespace == "" {
		var err error
		if namespace, err = host.Namespace(); err != nil {
			return ""
		}
	}
	return strings.TrimSuffix(address, "/") + "/namespaces/" + url.PathEscape(namespace) +
		"/workflows?query=" + url.QueryEscape(`WorkflowId="`+workflowID+`"`)
}
