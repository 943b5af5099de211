package agentapi

import "time"

func init() { answerTimeout = time.Minute }
