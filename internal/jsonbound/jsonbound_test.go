package jsonbound_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"rollcall/internal/devenv/devtest"
	"rollcall/internal/jsonbound"
)

func TestMain(m *testing.M) { devtest.Main(m) }

func TestWhatIsBeyondABoundIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	keys := func(n int) string {
		fields := make([]string, n)
		for i := range fields {
			fields[i] = fmt.Sprintf(`"k%d":0`, i)
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	long := strings.Repeat("n", 5000)
	for name, c := range map[string]struct{ value, message string }{
		"exponent":          {`{"spec":{"a":[1,1e131071]}}`, "spec.a[1]: the number's exponent is beyond 400"},
		"negative exponent": {`{"a":1e-401}`, "a: the number's exponent is beyond 400"},
		"huge exponent":     {`{"a":1e99999999999999999999}`, "a: the number's exponent is beyond 400"},
		"just in":           {`[1e400,-1E-400,1e+400,` + strings.Repeat("9", 64) + `,0.` + strings.Repeat("1", 63) + "]", ""},
		"digits":            {`{"a":` + strings.Repeat("9", 65) + "}", "a: the number has more than 64 digits"},
		"fraction":          {`{"a":-0.` + strings.Repeat("1", 64) + "}", "a: the number has more than 64 digits"},
		"keys":              {keys(5001), "k5000: there are more than 5000 fields in the document"},
		"keys just in":      {keys(5000), ""},
		"keys of many": {
			"[" + strings.Repeat(`{"a":0},`, 5000) + `{"a":0}]`, "[5000].a: there are more than 5000 fields in the document",
		},
		"levels": {
			strings.Repeat("[", 65) + strings.Repeat("]", 65), "there are more than 64 levels of objects and lists",
		},
		"levels just in": {strings.Repeat("[", 64) + strings.Repeat("]", 64), ""},
		"NUL": {
			`{"spec":{"a":"x\u0000"}}`, `spec.a: holds a NUL character (\u0000), which the database cannot store`,
		},
		"NUL in a name":    {`{"a\u0000":1}`, `["a\x00"]: holds a NUL character`},
		"twice":            {`{"a":{"b":{"c":1,"c":2}}}`, `a.b: the field "c" stands there twice`},
		"twice in escapes": {`{"a":1,"\u0061":2}`, `the field "a" stands there twice`},
		"odd name":         {`{"a":{"example.com/site":1e500}}`, `a["example.com/site"]: the number's exponent`},
		"long name":        {`{"` + long + `":1e500}`, strings.Repeat("n", 64) + `…"]: the number's exponent`},
		"surrogate":        {`{"a":"\ud800"}`, "a: invalid "},
		"no UTF-8":         {"{\"a\":\"\xff\"}", "a: invalid UTF-8"},
		"cut off":          {`{"a":`, "unexpected end of JSON input"},
		"nothing":          {``, "unexpected end of JSON input"},
		"two values":       {`{} {}`, "there is more text behind the JSON value"},
		"garbage":          {`{"a":x}`, "invalid character 'x'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := jsonbound.Check([]byte(c.value))
			if c.message == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.message)
			require.Less(t, len(err.Error()), 500)
		})
	}
}

func TestSyntaxIsToldFromBounds(t *testing.T) {
	t.Parallel()
	_, err := jsonbound.Check([]byte(`{"a":x}`))
	require.ErrorIs(t, err, jsonbound.ErrSyntax)
	_, err = jsonbound.Check([]byte(`{"a":1e500}`))
	require.NotErrorIs(t, err, jsonbound.ErrSyntax)
	require.NotErrorIs(t, err, jsonbound.ErrNUL)
}

// A caller that has its own word for a NUL must not let a bomb through that stands behind one.
func TestANULIsToldFromBounds(t *testing.T) {
	t.Parallel()
	printed, err := jsonbound.Check([]byte(`{"a":"x\u0000","b":[1]}`))
	require.ErrorIs(t, err, jsonbound.ErrNUL)
	require.NotErrorIs(t, err, jsonbound.ErrSyntax)
	require.Positive(t, printed)
	_, err = jsonbound.Check([]byte(`{"a":"x\u0000","b":[1e131071]}`))
	require.ErrorContains(t, err, "b[0]: the number's exponent")
	require.NotErrorIs(t, err, jsonbound.ErrNUL)
}

func TestWhatPostgreSQLHasPrintedHasManyDigits(t *testing.T) {
	t.Parallel()
	value := []byte(`[1` + strings.Repeat("0", 400) + `,1e400]`)
	printed, err := jsonbound.CheckPrinted(value)
	require.NoError(t, err)
	require.InDelta(t, 2*401, printed, 20)
	_, err = jsonbound.CheckPrinted([]byte(`[1e401]`))
	require.ErrorContains(t, err, "exponent")
	_, err = jsonbound.Check(value)
	require.ErrorContains(t, err, "digits")
}

// PostgreSQL itself says how long a value is when it is printed: never longer than Check has said, and not much
// shorter.
func TestTheLengthIsThatOfPostgreSQL(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("postgres", devtest.Database(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	rapid.Check(t, func(t *rapid.T) {
		value := "[" + strings.Join(rapid.SliceOf(rapid.Custom(anyValue)).Draw(t, "values"), ",") + "]"
		printed, err := jsonbound.Check([]byte(value))
		require.NoError(t, err, value)
		var real int64
		require.NoError(t, db.QueryRow(`select octet_length(cast(cast($1 as jsonb) as text))`, value).Scan(&real))
		require.LessOrEqual(t, real, printed, value)
		require.LessOrEqual(t, printed, 7*real+64, value)
	})
}

func anyValue(t *rapid.T) string {
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return fmt.Sprintf("%s%de%d", rapid.SampledFrom([]string{"", "-", "0.", "-12.00"}).Draw(t, "start"),
			rapid.IntRange(1, 1e9).Draw(t, "n"),
			rapid.IntRange(-400, 400).Draw(t, "exponent"))
	case 1:
		text, _ := json.Marshal(strings.ReplaceAll(rapid.String().Draw(t, "text"), "\x00", ""))
		return string(text)
	case 2:
		return rapid.SampledFrom([]string{"true", "false", "null", "{}", "[]", `"\u0001\t\"\\"`}).Draw(t, "literal")
	default:
		return `{"a":` + anyValue(t) + `,"b":[` + anyValue(t) + `]}`
	}
}

// FuzzCheck holds that whatever passes is JSON that the standard library reads, too.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"b",null]}`, `1e400`, `{"a":1,"a":2}`, `"\ud800"`, `[[[`, ` 0 `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, err := jsonbound.Check(value); err == nil {
			require.True(t, json.Valid(value))
		} else {
			require.NotEmpty(t, err.Error())
		}
	})
}
