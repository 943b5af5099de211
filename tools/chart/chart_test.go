// Package chart tests deploy/helm/rollcall: helm lints and renders it, and each object is decoded strictly as the type
// of Kubernetes' own API that it says it is.
package chart

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const chart = "../../deploy/helm/rollcall"

// everything switches on what the default values leave out.
var everything = []string{
	"--set", "gateway.enabled=true", "--set", "gateway.authority.existingSecret=authority", "--set",
	"gateway.organisation=acme",
	"--set", "temporal.apiKey.existingSecret=key", "--set", "temporal.tls.existingSecret=tls", "--set",
	"temporal.tls.mutual=true",
	"--set", "worker.skipSearchAttributes=true", "--set", "imagePullSecrets[0].name=pull", "--set",
	"worker.nodeSelector.zone=a",
	"--set", "worker.tolerations[0].key=dedicated", "--set", "gateway.nodeSelector.zone=a", "--set",
	"serviceAccount.annotations.a=b",
	"--set", "gateway.service.annotations.a=b", "--set",
	"networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
	"--set", "networkPolicy.agentsFrom[0].ipBlock.cidr=10.0.0.0/8",
}

func helm(args ...string) ([]byte, error) {
	cmd := exec.Command("../../bin/helm", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, errors.Join(err, errors.New(stderr.String()+string(out)))
	}
	return out, nil
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{nil, everything} {
		_, err := helm(append([]string{"lint", "--strict", "--kube-version", "1.34.0", chart}, values...)...)
		require.NoError(t, err)
	}
	_, err := helm("template", "night", chart, "--kube-version", "1.34.0", "--set", "temporal.address=")
	require.ErrorContains(t, err, "temporal.address is where Temporal's frontend listens")
}

// render returns the objects that the chart makes of these values.
func render(t *testing.T, values ...string) []runtime.Object {
	t.Helper()
	out, err := helm(append([]string{"template", "night", chart, "--namespace", "fleet", "--kube-version", "1.34.0"},
		values...)...)
	require.NoError(t, err)
	objects, err := decode(out)
	require.NoError(t, err)
	return objects
}

// decode fails for a field that the type does not have, and for one that stands twice.
func decode(manifests []byte) (objects []runtime.Object, err error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(regexp.MustCompile(`(?m)^#.*$`).ReplaceAll(text, nil))) == 0 {
			continue
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			return nil, errors.Join(err, errors.New(string(text)))
		}
		objects = append(objects, object)
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	require.Len(t, render(t), 5, "account, migration, worker, its budget and its policy")
	require.Len(t, render(t, everything...), 9, "and the gateway with its service")
	require.Len(t, render(t, "--set", "networkPolicy.enabled=false", "--set", "migration.enabled=false", "--set",
		"serviceAccount.create=false"), 2)
	for _, object := range render(t, everything...) {
		m, ok := object.(metav1.Object)
		require.True(t, ok)
		require.Empty(t, validation.IsDNS1123Label(m.GetName()), m.GetName())
		require.Equal(t, "night", m.GetLabels()["app.kubernetes.io/instance"])
		require.True(t, strings.HasPrefix(m.GetName(), "night-rollcall"), m.GetName())
	}
	_, err := decode([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n"))
	require.ErrorContains(t, err, "prots", "a wrong field is seen")
}

// pods are the templates of all pods by the name of their object.
func pods(objects []runtime.Object) map[string]corev1.PodTemplateSpec {
	found := map[string]corev1.PodTemplateSpec{}
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			found[o.Name] = o.Spec.Template
		case *batchv1.Job:
			found[o.Name] = o.Spec.Template
		}
	}
	return found
}

func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	found := pods(render(t, everything...))
	require.Len(t, found, 3)
	for name, pod := range found {
		require.True(t, *pod.Spec.SecurityContext.RunAsNonRoot, name)
		require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.Spec.SecurityContext.SeccompProfile.Type, name)
		require.False(t, *pod.Spec.AutomountServiceAccountToken, name)
		volumes := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			require.NotNil(t, v.Secret, "%s has no volume but secrets that exist", name)
			volumes[v.Name] = true
		}
		for _, c := range pod.Spec.Containers {
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, name)
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, name)
			require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, name)
			require.NotEmpty(t, c.Resources.Limits.Memory().String(), name)
			var mounts []string
			for _, m := range c.VolumeMounts {
				require.True(t, volumes[m.Name], "%s mounts %s", name, m.Name)
				require.True(t, m.ReadOnly, name)
				mounts = append(mounts, m.MountPath+"/")
			}
			for _, e := range c.Env {
				require.Nil(t, e.ValueFrom, "%s: secrets are in files", e.Name)
				if strings.HasPrefix(e.Value, "/etc/rollcall/") {
					require.Contains(t, mounts, filepath.Dir(e.Value)+"/", "%s of %s", e.Name, name)
				}
			}
		}
	}
}

func TestProbesBudgetsAndPoliciesFitTheirPods(t *testing.T) {
	t.Parallel()
	objects := render(t, everything...)
	labels := map[string]map[string]string{}
	for name, pod := range pods(objects) {
		labels[name] = pod.Labels
		if pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
			continue
		}
		c := pod.Spec.Containers[0]
		for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			require.Equal(t, path, probe.HTTPGet.Path, name)
			require.Equal(t, "metrics", probe.HTTPGet.Port.String(), name)
		}
	}
	selects := func(name string, by map[string]string) {
		require.NotEmpty(t, by, name)
		for key, value := range by {
			require.Equal(t, value, labels[name][key], "%s selects by %s", name, key)
		}
	}
	for _, object := range objects {
		switch o := object.(type) {
		case *appsv1.Deployment:
			selects(o.Name, o.Spec.Selector.MatchLabels)
		case *policyv1.PodDisruptionBudget:
			selects(o.Name, o.Spec.Selector.MatchLabels)
			require.Equal(t, 1, o.Spec.MaxUnavailable.IntValue())
		case *networkingv1.NetworkPolicy:
			selects(o.Name, o.Spec.PodSelector.MatchLabels)
			require.Len(t, o.Spec.PolicyTypes, 2, o.Name)
		case *corev1.Service:
			selects(o.Name, o.Spec.Selector)
		case *batchv1.Job:
			require.Equal(t, "pre-install,pre-upgrade", o.Annotations["helm.sh/hook"])
		}
	}
}
