package host

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fastnetmon-go/fastnetmon/sdk"
	"github.com/fastnetmon-go/fastnetmon/sdk/internal/wire"
	pb "github.com/fastnetmon-go/fastnetmon/sdk/internal/wire/pluginv1"
)

// maxText bounds texts of a plugin, in bytes.
const maxText = 4 << 10

// ErrGone is in the chain of a call's error when the plugin has died or its
// connection is closed.
var ErrGone = errors.New("the plugin has died or closed its connection")

// callError says of a call that failed, as opposed to one whose answer is a
// complaint, what happened. context.DeadlineExceeded, context.Canceled and
// ErrGone are in its chain where they are the cause.
func callError(ctx context.Context, method string, err error) error {
	s, _ := status.FromError(err)
	text := wire.Clean(s.Message(), maxText)
	code := s.Code()
	if code == codes.Canceled && ctx.Err() == nil {
		code = codes.Unavailable // not we have given up, but the connection was closed
	}
	switch code {
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s: the plugin did not answer in time: %w", method, context.DeadlineExceeded)
	case codes.Canceled:
		return fmt.Errorf("%s: %w", method, context.Canceled)
	case codes.Unavailable:
		return fmt.Errorf("%s: %w (%s)", method, ErrGone, text)
	case codes.Unimplemented:
		return fmt.Errorf("%s: the plugin does not offer this: %s", method, text)
	case codes.ResourceExhausted:
		return fmt.Errorf("%s: a message is larger than %d bytes, or the plugin has run out of something: %s", method, MaxMessage, text)
	}
	return fmt.Errorf("%s: %s", method, text)
}

// retryable is callError for calls that may be made again: a plugin that is
// gone will be back.
func retryable(ctx context.Context, method string, err error) error {
	err = callError(ctx, method, err)
	if errors.Is(err, ErrGone) {
		return sdk.Retry(err)
	}
	return err
}

// said turns a plugin's error text into an error.
func said(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(wire.Clean(text, maxText))
}

// outcome turns the result of an action into an error; sdk.IsRetry tells
// whether the plugin asks for another try.
func outcome(o *pb.Outcome) error {
	if o.GetOk() {
		return nil
	}
	err := said(o.GetError())
	if err == nil {
		err = errors.New("the plugin failed and does not say why")
	}
	if o.GetRetryable() {
		return sdk.Retry(err)
	}
	return err
}
