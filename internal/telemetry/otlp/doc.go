package otlp

// Stats counts traces since the exporter was made.
type Stats struct {
	Exported uint64 // the collector has taken them
	Dropped  uint64 // the queue was full
	Failed   uint64 // the collector has refused them, or was not there for too long
}
