//! What a board knows of who leads elsewhere, and of who is silent.

use super::*;

#[test]
fn who_leads_elsewhere_is_what_was_heard_last_of_who_is_there() {
    let board = Board::new(PeerId(1), 4, 3, Catalogue::default());
    let (there, here) = (ShardId(2), ShardId(3));
    assert!(board.is_lost_for_some());
    board.heard(there, PeerId(2), 5);
    board.heard(there, PeerId(3), 4);
    assert_eq!(board.leader(there), Some(PeerId(2)), "an older word changes nothing");
    board.lost(PeerId(3));
    assert_eq!(board.leader(there), Some(PeerId(2)));
    board.lost(PeerId(2));
    assert_eq!(board.leader(there), None);
    board.heard(there, PeerId(3), 6);
    assert_eq!(board.leader(there), Some(PeerId(3)));
    // A replica here hears of its leader by itself.
    board.set_here(here, true);
    board.led(here, 7, Some(PeerId(2)), false);
    board.heard(here, PeerId(3), 9);
    board.lost(PeerId(2));
    assert_eq!(board.leader(here), Some(PeerId(2)));
    board.led(here, 8, None, false);
    board.heard(here, PeerId(2), 7);
    assert_eq!(board.leader(here), None);
    board.heard(here, PeerId(3), 9);
    assert_eq!((board.leader(here), board.term(here)), (Some(PeerId(3)), 8));
    [0, 1].into_iter().for_each(|shard| board.heard(ShardId(shard), PeerId(2), 1));
    assert!(!board.is_lost_for_some());
    board.heard(ShardId(9), PeerId(2), 1);
}
