//! ATT&CK: the tactics of each technique (Enterprise matrix).

/// The tactics in the order of the matrix, as rules write them.
pub const TACTICS: [&str; 14] = [
    "reconnaissance",
    "resource_development",
    "initial_access",
    "execution",
    "persistence",
    "privilege_escalation",
    "defense_evasion",
    "credential_access",
    "discovery",
    "lateral_movement",
    "collection",
    "command_and_control",
    "exfiltration",
    "impact",
];

/// Techniques by tactic; a technique with several tactics stands in several rows. Source: MITRE ATT&CK for Enterprise.
const TECHNIQUES: [(&str, &[u16]); 14] = [
    ("reconnaissance", &[1589, 1590, 1591, 1592, 1593, 1594, 1595, 1596, 1597, 1598, 1681]),
    ("resource_development", &[1583, 1584, 1585, 1586, 1587, 1588, 1608, 1650]),
    ("initial_access", &[1078, 1091, 1133, 1189, 1190, 1195, 1199, 1200, 1566, 1659, 1669]),
    ("execution", &[1047, 1053, 1059, 1072, 1106, 1129, 1203, 1204, 1559, 1569, 1609, 1610, 1648, 1651, 1674, 1675, 1677]),
    (
        "persistence",
        &[1037, 1053, 1078, 1098, 1112, 1133, 1136, 1137, 1176, 1197, 1205, 1505, 1525, 1542, 1543, 1546, 1547, 1554, 1556, 1574, 1653, 1668, 1671],
    ),
    ("privilege_escalation", &[1037, 1053, 1055, 1068, 1078, 1098, 1134, 1484, 1543, 1546, 1547, 1548, 1574, 1611]),
    (
        "defense_evasion",
        &[
            1006, 1014, 1027, 1036, 1055, 1070, 1078, 1112, 1127, 1134, 1140, 1197, 1202, 1205, 1207, 1211, 1216, 1218, 1220, 1221, 1222, 1480, 1484,
            1497, 1535, 1542, 1548, 1550, 1553, 1556, 1562, 1564, 1574, 1578, 1599, 1600, 1601, 1610, 1612, 1620, 1622, 1647, 1656, 1666, 1672, 1678,
            1679,
        ],
    ),
    ("credential_access", &[1003, 1040, 1056, 1110, 1111, 1187, 1212, 1528, 1539, 1552, 1555, 1556, 1557, 1558, 1606, 1621, 1649]),
    (
        "discovery",
        &[
            1007, 1010, 1012, 1016, 1018, 1033, 1040, 1046, 1049, 1057, 1069, 1082, 1083, 1087, 1120, 1124, 1135, 1201, 1217, 1482, 1497, 1518, 1526,
            1538, 1580, 1613, 1614, 1615, 1619, 1622, 1652, 1654, 1673, 1680,
        ],
    ),
    ("lateral_movement", &[1021, 1072, 1080, 1091, 1210, 1534, 1550, 1563, 1570]),
    ("collection", &[1005, 1025, 1039, 1056, 1074, 1113, 1114, 1115, 1119, 1123, 1125, 1185, 1213, 1530, 1557, 1560, 1602]),
    ("command_and_control", &[1001, 1008, 1071, 1090, 1092, 1095, 1102, 1104, 1105, 1132, 1205, 1219, 1568, 1571, 1572, 1573, 1659, 1665]),
    ("exfiltration", &[1011, 1020, 1029, 1030, 1041, 1048, 1052, 1537, 1567]),
    ("impact", &[1485, 1486, 1489, 1490, 1491, 1495, 1496, 1498, 1499, 1529, 1531, 1561, 1565, 1657, 1667]),
];

/// The number of a technique or sub-technique id (`T1110.003`); `None` where it is no such id.
pub fn number(id: &str) -> Option<u16> {
    let rest = id.strip_prefix('T')?;
    let (base, sub) = match rest.split_once('.') {
        Some((b, s)) => (b, Some(s)),
        None => (rest, None),
    };
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(base, 4) || sub.is_some_and(|s| !digits(s, 3)) {
        return None;
    }
    base.parse().ok()
}

/// The tactics of a technique, in the order of the matrix; none where it is not known. A sub-technique has those of its
/// technique.
pub fn tactics(id: &str) -> impl Iterator<Item = &'static str> {
    let n = number(id);
    TECHNIQUES.iter().filter(move |(_, all)| n.is_some_and(|n| all.contains(&n))).map(|(t, _)| *t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_technique_has_all_its_tactics_and_a_sub_technique_those_of_its_parent() {
        let t = |id| tactics(id).collect::<Vec<_>>();
        assert_eq!(t("T1110.003"), ["credential_access"]);
        assert_eq!(t("T1078"), ["initial_access", "persistence", "privilege_escalation", "defense_evasion"]);
        assert_eq!(t("T1505.003"), ["persistence"]);
        assert!(t("T9999").is_empty());
        for bad in ["1110", "T111", "T1110.3", "T1110.", "t1110", "T11100"] {
            assert_eq!(number(bad), None, "{bad}");
        }
        for (tactic, all) in TECHNIQUES {
            assert!(TACTICS.contains(&tactic));
            assert!(all.windows(2).all(|w| w[0] < w[1]), "{tactic} is not sorted");
        }
    }
}
