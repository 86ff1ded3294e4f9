package hotel_test

import (
	"testing"

	"github.com/weft-run/weft/examples/services/hotel/go/hotel"
	"github.com/weft-run/weft/service"
)

// Of four rooms and three seats three pairs can be reserved, and the fourth room stays free.
func TestReserve(t *testing.T) {
	m := service.NewMemory(hotel.Services()...)
	if _, err := service.Call(m, hotel.HotelAt("").Add([]string{"ritz"}, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Call(m, hotel.FlightAt("").Add([]string{"LH400"}, 3)); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		hotel, flight string
		want          hotel.Answer
	}{
		{"ritz", "LH400", hotel.Answer{OK: true, Text: "Order Successful"}},
		{"ritz", "LH400", hotel.Answer{OK: true, Text: "Order Successful"}},
		{"ritz", "LH400", hotel.Answer{OK: true, Text: "Order Successful"}},
		{"ritz", "LH400", hotel.Answer{Text: "Flight Reservation Failed"}},
		{"none", "LH400", hotel.Answer{Text: "Hotel Reservation Failed"}},
	} {
		got, err := service.Call(m, hotel.FrontendAt("").Reserve("ann", c.hotel, c.flight))
		if got != c.want || err != nil {
			t.Errorf("%d: got %v, %v, want %v", i, got, err, c.want)
		}
	}
	rooms, _ := service.Call(m, hotel.HotelAt("").Free("ritz"))
	seats, _ := service.Call(m, hotel.FlightAt("").Free("LH400"))
	orders, _ := service.Call(m, hotel.OrderAt("").Count())
	if rooms != 1 || seats != 0 || orders != 3 {
		t.Errorf("%d rooms, %d seats, %d orders", rooms, seats, orders)
	}
}
