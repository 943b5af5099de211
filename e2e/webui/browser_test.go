package webui

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browsers are the names of Chromium on the PATH.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// findBrowser returns the path of Chromium. Without one the test is skipped.
func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("no Chromium is on the PATH (%s): install one, for example with `apt-get install chromium`",
		strings.Join(browsers, ", "))
	return ""
}

// openBrowser starts Chromium without a window, with a new profile, and returns the context of its first tab.
func openBrowser(t *testing.T, path string) context.Context {
	t.Helper()
	ctx, end := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WindowSize(1600, 1200), chromedp.WSURLReadTimeout(waitLimit),
	)
	t.Cleanup(end)
	tab, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	require.NoError(t, chromedp.Do(tab), "start Chromium")
	return tab
}

// allText is the text of a page and of its frames: the web UI draws each piece of Markdown in a frame.
const allText = `[document, ...[...document.querySelectorAll('iframe')].map(f => f.contentDocument)]
	.map(d => d?.body?.innerText ?? '').join('\n')`

// page is a page of the web UI.
type page struct {
	t   *testing.T
	tab context.Context
	url string
}

// lookAgain is how long a page may take to show what is there. After that it is loaded again, because a list does not
// follow the server's index by itself.
const lookAgain = 15 * time.Second

// shows waits until the page shows each of the texts, and returns all of its text. A page is drawn after several
// requests, so the load event says nothing.
func (p page) shows(texts ...string) (shown string) {
	p.t.Helper()
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); {
		require.NoError(p.t, chromedp.Do(p.tab, chromedp.Navigate(p.url)))
		for again := time.Now().Add(lookAgain); time.Now().Before(again); {
			var err error
			shown, err = chromedp.Run(p.tab, chromedp.Evaluate[string](allText))
			require.NoError(p.t, err)
			if containsAll(shown, texts) {
				return shown
			}
			require.NoError(p.t, chromedp.Do(p.tab, chromedp.Sleep(100*time.Millisecond)))
		}
	}
	require.FailNow(p.t, "the page does not show it", "%s\nwant %q, and it shows:\n%s", p.url, texts, shown)
	return ""
}

// containsAll reports whether a text contains each of the others, however its spaces are broken.
func containsAll(text string, all []string) bool {
	text = strings.Join(strings.Fields(text), " ")
	for _, want := range all {
		if !strings.Contains(text, want) {
			return false
		}
	}
	return true
}
