"""Rosters as districts and schools save them: OneRoster sets, spreadsheets, archives."""

import io
import zipfile
from collections.abc import Mapping

ORGS = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId"
CLASSES = "sourcedId,status,dateLastModified,title,classType,schoolSourcedId"
ENROLMENTS = "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role"
USERS = "sourcedId,status,orgSourcedIds,role,userIds,givenName,familyName,identifier"
DISTRICT: Mapping[str, str] = {
    "orgs.csv": f"""{ORGS}
d,active,,江夏区,district,,
a,active,,第17小学,school,4201150017,d
b,active,,第18小学,school,4201150018,d
""",
    "classes.csv": f"""{CLASSES}
a1,active,,三年级2班,homeroom,a
a9,active,,数学提高班,scheduled,a
b1,active,,一年级1班,homeroom,b
""",
    "enrollments.csv": f"""{ENROLMENTS}
1,active,,a9,a,u1,student
2,active,,a1,a,u1,student
3,active,,b1,b,u2,student
4,active,,a1,a,t1,teacher
""",
    "users.csv": f"""{USERS}
u1,active,a,student,{{card:6f007b3972}},伟,张,20260001
u2,active,b,student,,芳,王,
t1,active,a,teacher,,老师,李,T-1
p1,active,a,parent,,爸爸,张,
gone,tobedeleted,a,student,,某,某,
""",
}


def archive(files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return packed.getvalue()
