// Package hotel reserves a room and a seat: both, or none.
package hotel

import (
	"errors"

	"github.com/weft-run/weft/service"
)

// Reasons for which a reservation fails.
var (
	ErrRoom = errors.New("no room is free")
	ErrSeat = errors.New("no seat is free")
)

// Frontend is what guests call.
//
//weft:service
type Frontend struct{}

// Answer is what a guest is told.
type Answer struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

// Reserve takes a room and a seat in a transaction, and places an order for them. If there is only one of them it
// takes none.
func (Frontend) Reserve(ctx *service.Context, user, hotel, flight string) (Answer, error) {
	err := service.Tx(ctx, func() error {
		room := service.Go(ctx, HotelAt("").Reserve(hotel))
		seat := service.Go(ctx, FlightAt("").Reserve(flight))
		if _, err := room.Wait(); err != nil {
			return err
		}
		_, err := seat.Wait()
		return err
	})
	switch {
	case errors.Is(err, ErrRoom):
		return Answer{false, "Hotel Reservation Failed"}, nil
	case errors.Is(err, ErrSeat):
		return Answer{false, "Flight Reservation Failed"}, nil
	case err != nil:
		return Answer{}, err
	}
	_, err = service.Call(ctx, OrderAt("").Place(Booking{user, hotel, flight}))
	return Answer{true, "Order Successful"}, err
}

// Hotel has the rooms of all hotels.
type Hotel struct {
	Rooms service.Map[string, int] // free ones
}

// Add adds rooms to hotels.
func (h *Hotel) Add(ctx *service.Context, hotels []string, rooms int) {
	for _, name := range hotels {
		h.Rooms.Update(name, func(n int) int { return n + rooms })
	}
}

// Reserve takes a room, and returns how many are left.
func (h *Hotel) Reserve(ctx *service.Context, hotel string) (int, error) {
	left := h.Rooms.Update(hotel, func(n int) int { return n - 1 })
	if left < 0 {
		return 0, ErrRoom // and the room is not taken
	}
	return left, nil
}

// Free returns how many rooms are free.
func (h *Hotel) Free(ctx *service.Context, hotel string) int {
	n, _ := h.Rooms.Get(hotel)
	return n
}

// Flight has the seats of all flights.
type Flight struct {
	Seats service.Map[string, int] // free ones
}

// Add adds seats to flights.
func (f *Flight) Add(ctx *service.Context, flights []string, seats int) {
	for _, name := range flights {
		f.Seats.Update(name, func(n int) int { return n + seats })
	}
}

// Reserve takes a seat, and returns how many are left.
func (f *Flight) Reserve(ctx *service.Context, flight string) (int, error) {
	left := f.Seats.Update(flight, func(n int) int { return n - 1 })
	if left < 0 {
		return 0, ErrSeat // and the seat is not taken
	}
	return left, nil
}

// Free returns how many seats are free.
func (f *Flight) Free(ctx *service.Context, flight string) int {
	n, _ := f.Seats.Get(flight)
	return n
}

// Order has all orders.
type Order struct {
	Orders service.Map[string, Booking] // by ID
}

// Booking is what somebody has ordered.
type Booking struct {
	User   string `json:"user"`
	Hotel  string `json:"hotel"`
	Flight string `json:"flight"`
}

// Place stores an order, and returns its ID.
func (o *Order) Place(ctx *service.Context, b Booking) string {
	id := service.UUID(ctx)
	o.Orders.Set(id, b)
	return id
}

// Count returns how many orders there are.
func (o *Order) Count(ctx *service.Context) int {
	n := 0
	for range o.Orders.All() {
		n++
	}
	return n
}
