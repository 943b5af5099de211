package simulator_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"rollcall/simulator"
)

func scenario(t *testing.T, text string) (simulator.Scenario, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s, err := simulator.ReadScenario(path)
	if err != nil {
		require.ErrorContains(t, err, path)
	}
	return s, err
}

func TestAScenarioIsReadStrictly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, complaint string }{
		"a field that no one knows": {"fleet: {ahed: 3}", "ahed"},
		"no YAML":                   {"fleet: [", "yaml"},
		"twice the same":            {"fleet: {ahead: 1, ahead: 2}", "ahead"},
		"more than all":             {"fleet: {ahead: 101%}", `"101%" is not an amount`},
		"fewer than none":           {"fleet: {ahead: -1}", "-1 is not an amount"},
		"half a device":             {"fleet: {ahead: 1.5}", "1.5 is not an amount"},
		"a share without a sign":    {"fleet: {ahead: '15'}", `"15" is not an amount`},
		"no number":                 {"fleet: {ahead: NaN%}", `"NaN%" is not an amount`},
		"a range backwards":         {"applySeconds: [4, 1]", "[4,1] is not a range"},
		"a range of three":          {"applySeconds: [1, 2, 3]", "is not a range"},
		"a range below zero":        {"applySeconds: -1", "-1 is not a range"},
		"a range in words":          {"applySeconds: 5s", `"5s" is not a range`},
		"a range of hours":          {"applySeconds: [1, 4000]", "3600 at most"},
		"back too late":             {"backWithinSeconds: 4000", "backWithinSeconds 4000"},
		"back too early":            {"backWithinSeconds: -1", "backWithinSeconds -1"},
		"failing too rarely":        {"failing: {share: 1, times: -1}", "failing.times -1"},
		"flaky all the time":        {"flaky: {share: 10%}", "flaky.everySeconds"},
		"a report of no one":        {"reports: [{renderedVersion: '7'}]", "reports[0]: it names no device"},
		"a report too early":        {"reports: [{device: a, afterSeconds: -1}]", "reports[0]: afterSeconds -1"},
		"a straggler of no one":     {"stragglers: [{renderedVersion: '7'}]", "stragglers[0]: it names no device"},
		"out of service, no one":    {"decommissioned: [{by: alice}]", "decommissioned[0]: it names no device"},
		"out of service too early": {
			"decommissioned: [{device: a, afterSeconds: -1}]",
			"decommissioned[0]: afterSeconds -1",
		},
		"a version that is no text": {"reports: [{device: a, renderedVersion: {a: 1}}]", "renderedVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := scenario(t, c.text)
			require.ErrorContains(t, err, c.complaint)
		})
	}
	_, err := simulator.ReadScenario(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorContains(t, err, "none.yaml")
}

func TestAScenarioIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	s := simulator.DefaultScenario()
	s.Reports = []simulator.Report{{Device: "a", AfterSeconds: 1.5, RenderedVersion: "007"}}
	s.Fleet.Unknown = simulator.Amount{Count: 3}
	text, err := yaml.Marshal(s)
	require.NoError(t, err)
	again, err := scenario(t, string(text))
	require.NoError(t, err)
	require.Equal(t, s, again)
}

func devices(n int, restored string) []simulator.Device {
	list := make([]simulator.Device, n)
	for i := range list {
		list[i] = simulator.Device{Name: fmt.Sprintf("web-%03d", i), Restored: restored}
	}
	return list
}

func fates(plans []simulator.Plan) map[simulator.Fate]int {
	n := map[simulator.Fate]int{}
	for _, p := range plans {
		n[p.Fate]++
	}
	return n
}

func TestFatesAreDealtAsTheScenarioSays(t *testing.T) {
	t.Parallel()
	s, err := scenario(t, `{fleet: {ahead: 20%, behind: 10, neverDeployed: 5%, neverBack: 3%, unknown: 4}, backWithinSeconds: 60,
		reports: [{device: web-001, renderedVersion: x}], slow: {share: 10%, applySeconds: 9}, rebooting: {share: 7, awaySeconds: [1, 2]}}`)
	require.NoError(t, err)
	plans, err := s.Plans(1, devices(101, "8"), 2)
	require.NoError(t, err)
	require.Equal(t, map[simulator.Fate]int{
		simulator.Ahead: 20, simulator.Behind: 10, simulator.NeverDeployed: 5, simulator.NeverBack: 3, simulator.Equal: 62,
		simulator.Unknown: 6, simulator.Named: 1,
	}, fates(plans))
	allowed := map[simulator.Fate][]string{
		simulator.Ahead: {"9", "10", "11"}, simulator.Equal: {"8"}, simulator.Behind: {"5", "6", "7"},
		simulator.NeverDeployed: {"", "0"}, simulator.Named: {"x"},
	}
	slow, rebooting, last := 0, 0, 0.0
	for _, p := range plans {
		if p.Fate == simulator.NeverBack {
			require.Empty(t, p.Reports)
			continue
		}
		require.Len(t, p.Reports, 1)
		last = max(last, p.Reports[0].AfterSeconds)
		if versions, ok := allowed[p.Fate]; ok {
			require.Contains(t, versions, p.Reports[0].RenderedVersion, p.Fate)
		}
		if p.Slow {
			slow++
		}
		if p.Rebooting {
			rebooting++
		}
	}
	require.Equal(t, 10, slow)
	require.Equal(t, 7, rebooting)
	require.Greater(t, last, 50.0)
	require.LessOrEqual(t, last, 60.0)
}

func TestADevicesReportsAreMadeInTheOrderOfTime(t *testing.T) {
	t.Parallel()
	plans, err := simulator.Scenario{Reports: []simulator.Report{
		{AfterSeconds: 9, Device: "a", RenderedVersion: "3"},
		{AfterSeconds: 1, Device: "b", RenderedVersion: "5"},
		{AfterSeconds: 2, Device: "a", RenderedVersion: "1"},
		{AfterSeconds: 2, Device: "a", RenderedVersion: "2"},
	}}.Plans(1, nil, 0)
	require.NoError(t, err)
	require.Len(t, plans, 2)
	var versions []string
	for _, r := range plans[0].Reports {
		versions = append(versions, r.RenderedVersion)
	}
	require.Equal(t, []string{"1", "2", "3"}, versions)
}

func TestPlansDependOnTheSeedAlone(t *testing.T) {
	t.Parallel()
	s := simulator.DefaultScenario()
	list := devices(50, "8")
	first, err := s.Plans(1, list, 3)
	require.NoError(t, err)
	list[0], list[49] = list[49], list[0]
	again, err := s.Plans(1, list, 3)
	require.NoError(t, err)
	require.Equal(t, first, again, "nor on the order of the devices")
	other, err := s.Plans(2, list, 3)
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

func TestVersionsAtTheEdges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fleet    simulator.Fates
		restored string
		reports  []string
	}{
		"nothing is older than nothing": {simulator.Fates{Behind: all}, "", []string{"0"}},
		"behind the first":              {simulator.Fates{Behind: all}, "1", []string{"0"}},
		"ahead of the last": {
			simulator.Fates{Ahead: all},
			"9223372036854775806",
			[]string{"9223372036854775807"},
		},
		"ahead of an unreadable one": {simulator.Fates{Ahead: all}, "v14", []string{"1", "2", "3"}},
		"equal to none":              {simulator.Fates{}, "", []string{"0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plans, err := simulator.Scenario{Fleet: &c.fleet}.Plans(1, devices(10, c.restored), 0)
			require.NoError(t, err)
			for _, p := range plans {
				require.Contains(t, c.reports, p.Reports[0].RenderedVersion)
			}
		})
	}
}

func TestAScenarioThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	for name, fleet := range map[string]simulator.Fates{
		"counts":         {Ahead: simulator.Amount{Count: 6}, Equal: simulator.Amount{Count: 5}},
		"shares":         {Ahead: simulator.Amount{Share: 0.9}, Behind: simulator.Amount{Share: 0.6}},
		"both":           {Ahead: simulator.Amount{Share: 0.9}, Behind: simulator.Amount{Count: 2}},
		"a single count": {Behind: simulator.Amount{Count: 11}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := simulator.Scenario{Fleet: &fleet}.Plans(1, devices(10, "5"), 0)
			require.ErrorContains(t, err, "more devices than the 10")
		})
	}
	plans, err := simulator.Scenario{Fleet: &simulator.Fates{
		Ahead:  simulator.Amount{Share: 0.5},
		Behind: simulator.Amount{Share: 0.5},
	}}.Plans(1, devices(11, "5"), 0)
	require.NoError(t, err, "shares are rounded")
	require.Len(t, plans, 11)
}

func TestAConfigurationIsCheckedBeforeAnythingIsMade(t *testing.T) {
	t.Parallel()
	_, err := simulator.New(t.Context(),
		simulator.Config{
			Gateway: "http://127.0.0.1:7443", Timing: simulator.Timing{StatusEvery: -time.Second},
			Scenario: simulator.Scenario{BackWithinSeconds: -1},
		})
	require.ErrorContains(t, err, "https://host:port")
	require.ErrorContains(t, err, "no certificate authority")
	require.ErrorContains(t, err, "below zero")
	require.ErrorContains(t, err, "backWithinSeconds")
	for _, address := range []string{
		"", "127.0.0.1:7443", "https://", "https://a/b", "https://a?b", "ftp://a",
		"https://[::1",
	} {
		_, err := simulator.CheckGateway(address)
		require.Error(t, err, address)
	}
}

func TestTheGatewayIsReachedBeforeThousandsTry(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		require.NoError(t, w.fleet().Reach(w.t.Context()))
		w.pipes.away.Store(true)
		require.ErrorContains(t, w.fleet().Reach(w.t.Context()), "connection refused")
		w.pipes.away.Store(false)
		w.cfg.Gateway = "https://other.test:7443"
		require.ErrorContains(t, w.fleet().Reach(w.t.Context()), "other.test")
	})
}

func TestProgressIsTold(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.device("web-7", 5)
		var told []simulator.Summary
		w.cfg.Progress, w.cfg.ProgressEvery = func(s simulator.Summary) { told = append(told, s) }, 10*time.Second
		w.run(w.fleet(), 65*time.Second)
		require.Len(t, told, 6)
		require.Equal(t, int64(1), told[0].Back)
		require.Equal(t, 10.0, told[0].Seconds)
	})
}
