//! Topics with members on several nodes.

use support::in_time;

use crate::nodes::worlds;

#[actix::test]
async fn a_reply_reaches_the_members_on_all_nodes_once() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (mut near, mut far, mut other) =
            (one.member("lobby").await, two.member("lobby").await, two.member("garden").await);
        for n in 0..100 {
            let published = one.cluster.topic("lobby").publish(format!("line {n}"));
            assert_eq!((published.members, published.remote.is_ok()), (1, true));
        }
        let published = one.cluster.topic("garden").publish("garden");
        assert_eq!((published.members, published.remote.is_ok()), (0, true));
        for n in 0..100 {
            near.expect(format!("line {n}\n").as_bytes()).await;
            far.expect(format!("line {n}\n").as_bytes()).await;
        }
        other.expect(b"garden\n").await;
        // Nothing came twice.
        two.cluster.topic("lobby").publish("end");
        near.expect(b"end\n").await;
        far.expect(b"end\n").await;
        in_time(one.pool.stop(None)).await;
        in_time(two.pool.stop(None)).await;
    }
}
