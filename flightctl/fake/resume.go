package fake

import (
	"encoding/json"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// resume removes the annotations of all devices that match in one statement, and then says and queues an event for
// each. Only the queue renders.
func (f *FlightControl) resume(c call) {
	var body struct {
		LabelSelector, FieldSelector *string
	}
	if err := json.NewDecoder(c.r.Body).Decode(&body); err != nil ||
		body.LabelSelector == nil && body.FieldSelector == nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", "doesn't match any schema from \"anyOf\"")
		return
	}
	names, err := f.matching(c, body.LabelSelector, body.FieldSelector)
	if err != nil {
		fail(c.w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	var resumed []string
	err = f.db.SelectContext(c.r.Context(), &resumed, `update devices set annotations = annotations - $3::text - $4::text,
		resource_version = coalesce(resource_version, 0) + 1, updated_at = now()
		where org_id = $1 and name = any($2) and deleted_at is null and annotations ? $3 returning name`,
		c.org, names, conflictPaused, renderedSpecHash)
	if err != nil {
		f.broken(c.w, err)
		return
	}
	f.at(c.r.Context(), ResumeAfterStatement)
	f.tellResumed(c, resumed)
	f.at(c.r.Context(), ResumeAfterAll)
	reply(c.w, http.StatusOK, map[string]int{"resumedDevices": len(resumed)})
}

// tellResumed says and queues an event for each device. When the caller has gone, what is left is neither written nor
// queued: ResumeDevices in the real one's internal/service/device calls CreateEvent of internal/service/events with the
// request's context, which logs what fails and returns.
func (f *FlightControl) tellResumed(c call, resumed []string) {
	ctx, id := c.r.Context(), c.requestID()
	for _, name := range resumed {
		e := event{
			reason: "DeviceConflictResolved", kind: "Device", name: name, actor: "user:none", requestID: id,
			message: "Device conflict has been resolved and it is no longer paused",
		}
		if err := f.say(ctx, c.org, e); err != nil {
			f.log.Error("write event", "device", name, "error", err)
			continue
		}
		f.at(ctx, ResumeAfterEvent)
		f.enqueue(ctx, c.org, e)
	}
}

// matching lists the devices that both selectors match.
func (f *FlightControl) matching(c call, labelSelector, fieldSelector *string) (stringArray, error) {
	byLabel, err := parse(labelSelector)
	if err != nil {
		return nil, err
	}
	byField, err := parse(fieldSelector)
	if err != nil {
		return nil, err
	}
	if requirements, _ := byField.Requirements(); len(requirements) > 0 {
		for _, r := range requirements {
			if !strings.HasPrefix(r.Key(), "metadata.") {
				return nil, &selectorError{r.Key()}
			}
		}
	}
	rows, err := f.devices(c)
	if err != nil {
		return nil, err
	}
	names := stringArray{}
	for _, d := range rows {
		tags := labels.Set{}
		for key, value := range d.Labels {
			tags[key], _ = value.(string)
		}
		fields := labels.Set{"metadata.name": d.Name, "metadata.owner": d.Owner.String}
		if byLabel.Matches(tags) && byField.Matches(fields) {
			names = append(names, d.Name)
		}
	}
	return names, nil
}

type selectorError struct{ field string }

func (e *selectorError) Error() string { return "unknown or unsupported selector: " + e.field }

// parse reads a selector. In that of fields an empty value may stand in quotes.
func parse(selector *string) (labels.Selector, error) {
	if selector == nil {
		return labels.Everything(), nil
	}
	if *selector == "metadata.name!=''" {
		everybody, err := labels.NewRequirement("metadata.name", selection.Exists, nil)
		return labels.NewSelector().Add(*everybody), err
	}
	// An owner has a slash in it, which a label's value may not have.
	if owner, ok := strings.CutPrefix(*selector, "metadata.owner="); ok {
		return ownedBy(strings.TrimPrefix(owner, "=")), nil
	}
	return labels.Parse(*selector)
}

// ownedBy is a selector of devices with this owner.
func ownedBy(owner string) labels.Selector {
	return labels.SelectorFromSet(labels.Set{"metadata.owner": owner})
}
