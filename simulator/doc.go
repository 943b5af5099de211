// Package simulator is a fleet of agents to try a gateway with: real HTTP clients with certificates of their own,
// which do what the agents of Flight Control do. They poll, report what they run, apply what they are served, fail at
// it, reboot, lose their connection, and enroll again where the service does not know them.
//
// What an agent does by chance is drawn from the seed, the agent's name and what is decided, so that the same seed and
// scenario make the same decisions, however long the answers take and however often something had to be tried.
package simulator
