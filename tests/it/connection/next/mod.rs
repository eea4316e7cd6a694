//! Every callback with every answer, at once and after waits: the callbacks in order with one `closed` at the end, the
//! bytes on the wire, the reason, the count.

mod trial;

use std::fmt::Write;

use trial::{Answer, At, Case};

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
    every_answer_out_of_init: Init,
    every_answer_out_of_ack: Ack,
    every_answer_to_a_packet: Packet,
    every_answer_to_a_message: User,
    every_answer_to_an_item_of_a_stream: Item,
    every_answer_to_silence: Idle,
    every_answer_to_a_packet_left_half_sent: PacketTimeout,
    every_answer_to_the_end_of_the_peers_sending: HalfClosed,
    every_answer_to_it_where_the_connection_goes_on: HalfOpen,
    every_answer_out_of_passive: Passive,
    every_answer_to_a_shutdown: Shutdown,
    every_answer_of_a_handler_of_ones_own: Foreign,
}
