//! Every callback with every answer, at once and after waits: the callbacks in order with one `closed` at the end, the
//! bytes on the wire, the reason, the count.

mod cases;

use std::fmt::Write;

use cases::{Answer, At, Case};

async fn every_answer(at: At) {
    let mut wrong = String::new();
    for waits in 0..3 {
        for answer in Answer::ALL {
            let case = Case { at, answer, waits };
            let (expected, story) = (case.expected(), case.run().await);
            if story != expected {
                write!(wrong, "\n{case:?}:\n  {story:?}\ninstead of\n  {expected:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

macro_rules! every_answer_out_of {
    ($($name:ident: $at:ident,)*) => {
        $(
            #[actix::test]
            async fn $name() {
                every_answer(At::$at).await;
            }
        )*
    };
}

every_answer_out_of! {
    every_next_from_init: Init,
    every_next_from_ack: Ack,
    every_next_from_packet: Packet,
    every_next_from_decode_error: DecodeError,
    every_next_from_user: User,
    every_next_from_a_stream_item: Item,
    every_next_from_an_idle_timeout: Idle,
    every_next_from_a_packet_timeout: PacketTimeout,
    every_next_from_half_closed: HalfClosed,
    every_next_from_half_closed_with_half_close: HalfOpen,
    every_next_from_passive: Passive,
    every_next_from_shutdown: Shutdown,
    every_next_from_a_message_handler: Foreign,
}
