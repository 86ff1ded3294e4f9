// Package auth says who sends a request, and what that one may do.
//
//	tokens, err := auth.OpenTokens(ctx, store, time.Now)
//	token, plain, err := tokens.Create(ctx, "ci", auth.Deploy, 90*24*time.Hour)
//
//	guard := &auth.Guard{Tokens: tokens, Hosts: []string{"weft.example.org"}}
//	server := &http.Server{ConnContext: auth.ConnContext, Handler: …}
//	who, err := guard.Check(r)        // err is a *Refusal: the status and the words of the answer
//	err = who.Require(auth.Deploy)    // so is this one
//
// There are two ways to be known. Whoever connects to the unix socket as the user
// that weft runs as, or as root, is admin: these can read weft's files anyway.
// Everybody else shows a token, in the header Authorization: Bearer weft_….
//
// Each role may do all that the one before it may:
//
//	read     see apps, runs, logs, outputs and figures
//	invoke   call functions; start, signal, pause, cancel and retry runs; upload values; send events
//	deploy   deploy, activate, roll back and delete apps; set and delete their secrets
//	admin    make and revoke tokens; read the audit log and the configuration; make backups
//
// A web page in somebody's browser can send requests too, to a node on the same
// machine even if nobody else reaches it. Guard refuses two kinds of them before it
// looks at who they come from: those for a host name that is not the node's (a
// page whose name was made to point here, DNS rebinding), and those of a page
// from another origin.
//
//	role.go     roles and identities
//	token.go    tokens: made, listed, revoked, checked
//	record.go   a token in the store
//	guard.go    the checks of a request
//	peer.go     who is at the other end of a unix socket
package auth
